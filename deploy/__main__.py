"""``python3 -m deploy run|test|bench|schema [arguments]``, with any Python that is new enough (deploy/start)."""

try:
    from deploy.bootstrap import main

    main()
except KeyboardInterrupt:
    raise SystemExit(130) from None
