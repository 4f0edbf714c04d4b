"""What names a result: content ids, and the digests of code that they rest on."""
