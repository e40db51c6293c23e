"""Runs over image folders: plan, lease, process, write, report; in process or on Celery workers."""
