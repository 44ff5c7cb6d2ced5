// Dequeuer
