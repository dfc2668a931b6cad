"""What starts workflows by itself: webhooks of outside systems and schedules. Definitions, mapping, times; nothing here acts."""
