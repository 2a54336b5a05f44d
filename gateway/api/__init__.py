"""The admin status API, its page and its metrics: what is known, told over HTTP."""
