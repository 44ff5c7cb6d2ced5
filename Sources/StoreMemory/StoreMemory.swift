// StoreMemory
