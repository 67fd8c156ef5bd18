"""The differential tester: the same operations to Apache ZooKeeper and to zabkeeper, every
reply and event compared byte by byte. Its codecs are its own, written from the protocol."""
