"""Numbers, and how they are written: functions with arguments, and data with sources."""
