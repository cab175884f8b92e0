"""How surprising values are, for many signals at once, with no more false alarms than asked for; needs numpy only."""
