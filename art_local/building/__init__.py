"""From a source tree to programs: the machine, its tools, the presets, the build."""
