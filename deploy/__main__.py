"""``python3 -m deploy run|test|bench|schema|audit [arguments]``, with any Python that is new enough (deploy/start)."""

from deploy.bootstrap import main

if __name__ == "__main__":
    main()
