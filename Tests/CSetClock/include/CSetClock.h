// There is nothing to call: a preloaded library replaces the C library's clock.
