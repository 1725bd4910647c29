-- The role and its three databases, created once by a superuser with psql on a new server. Takes the
-- role's password from the environment variable ROLE_PASSWORD.
\set ON_ERROR_STOP on
\getenv password ROLE_PASSWORD

create role zipchat login password :'password';
-- A managed server's administrator may give databases only to roles that it belongs to.
grant zipchat to current_user;

create database dagster owner zipchat; -- runs, events and schedules
create database lake owner zipchat;    -- the DuckLake catalog
create database budget owner zipchat;  -- how much of the rate limit is used up
