"""The desk without its pages: people, what proves them, where they sit, and what they propose about orphans."""
