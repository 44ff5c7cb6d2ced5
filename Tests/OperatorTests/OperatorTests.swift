// OperatorTests
