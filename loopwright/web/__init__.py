"""What a browser and other programs reach over HTTP: the gateway with the lead form, workflow starts, callbacks and progress."""
