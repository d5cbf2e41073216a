"""Upper and lower bounds as pure functions."""
