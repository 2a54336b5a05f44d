"""Who asks, whether they may, and how they sign in: tokens, sessions, identity providers, roles."""
