// Nothing to call: the library stands in for the C library's clock where it is preloaded.
