"""The Redis proxy: takes our password, signs in upstream with the real one, and is otherwise not there."""
