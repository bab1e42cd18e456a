"""What training costs: multiply-adds and seconds, counted, measured and predicted."""
