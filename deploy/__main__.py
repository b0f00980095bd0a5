"""``python3 -m deploy SCRIPT [arguments]``, with any Python that is new enough (deploy/start)."""

from deploy.bootstrap import main

if __name__ == "__main__":
    main()
