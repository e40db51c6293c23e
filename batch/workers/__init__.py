"""Celery: the application, its brokers, its tasks and one worker for each device."""
