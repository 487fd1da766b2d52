"""What Optuna Dashboard shows of a store: our plots, notes and pictures, and the server itself."""
