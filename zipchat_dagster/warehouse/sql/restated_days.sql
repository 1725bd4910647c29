-- grain: one row per day whose metrics were stored
select strftime(day, '%Y-%m-%d') as day from restated order by day
