"""Settings for one model: where tolerance is cheap, found on calibration text and checked on text held out."""
