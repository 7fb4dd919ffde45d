"""The parts of fsck: each looks at one thing, page by page, while everything goes on."""
