"""Making a trained model forget what it tells of people, and attackers that test whether it has."""
