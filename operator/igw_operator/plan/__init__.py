"""What should be: one pure builder per child, the SLO rules, and the diff against what is."""
