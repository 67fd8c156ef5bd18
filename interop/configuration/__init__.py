"""What Apache ZooKeeper makes of a configuration, asked key by key; README.md has the rest."""
