"""Recorded traffic: CommonRoad XML and nuPlan logs become scenarios, through one processed layout."""
