"""What the partner plays and when: context, plans, and the scheduler that plays them."""
