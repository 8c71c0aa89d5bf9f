# Postgres as the distribution packages it, in the manner of the official image: a fresh cluster at first start, superuser
# postgres without a password, every address trusted. For tests only.
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql \
 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/*/main \
 && ln -s /usr/lib/postgresql/*/bin /usr/local/pgbin
ENV PATH=/usr/local/pgbin:$PATH PGDATA=/var/lib/postgresql/data
COPY postgres-entrypoint.sh /usr/local/bin/entrypoint
USER postgres
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/usr/local/bin/entrypoint"]
