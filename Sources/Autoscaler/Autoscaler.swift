// Autoscaler
