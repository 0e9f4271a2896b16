"""What artefacts read rightly, spoilt or of other hands, and what they refuse as no digit."""
