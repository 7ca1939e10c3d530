from art_local.cli.app import main

main()
