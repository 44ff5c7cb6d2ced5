// DequeuerTests
