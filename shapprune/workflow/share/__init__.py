"""Results for others: MLflow, DVC and headline numbers."""
