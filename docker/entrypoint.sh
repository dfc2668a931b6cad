#!/bin/sh
# What a container of the image is: the first word says it, the rest are its arguments. The Flink Kubernetes operator uses the first three.
set -eu

python=/opt/loopwright/bin/python

case "${1:-help}" in
    jobmanager)
        shift
        exec "$FLINK_HOME/bin/jobmanager.sh" start-foreground "$@"
        ;;
    standalone-job)
        shift
        exec "$FLINK_HOME/bin/standalone-job.sh" start-foreground "$@"
        ;;
    taskmanager)
        shift
        exec "$FLINK_HOME/bin/taskmanager.sh" start-foreground "$@"
        ;;
    agents)
        shift
        exec "$python" -m agents.sdr.serve --host 0.0.0.0 --port 8801 "$@"
        ;;
    gateway)
        shift
        exec "$python" -m loopwright.web.gateway --host 0.0.0.0 --port 8800 "$@"
        ;;
    schedule)
        shift
        exec "$python" -m loopwright.cli.schedule --host 0.0.0.0 --port 8802 "$@"
        ;;
    submit)
        shift
        exec "$python" /opt/loopwright/submit.py "$@"
        ;;
    healthy)
        # whether the URL answers 200 within three seconds: the image has no other client for that
        exec "$python" -c 'import sys, urllib.request as r; sys.exit(r.urlopen(sys.argv[1], timeout=3).status != 200)' "$2"
        ;;
    help)
        echo "jobmanager | taskmanager | standalone-job | agents | gateway | schedule | submit | healthy URL | any other command, such as loopwright"
        ;;
    *)
        exec "$@"
        ;;
esac
