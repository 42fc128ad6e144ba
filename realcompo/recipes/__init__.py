"""Everything that decides a picture: its model, its files, its layers of configuration."""
