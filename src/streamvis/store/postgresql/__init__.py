"""The store in a PostgreSQL database. Only this package imports psycopg, and only when such a store is opened."""
