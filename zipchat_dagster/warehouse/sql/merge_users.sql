-- grain: one row per user of `batch`, in its last observation there
merge into zipchat.users as known
using (
    select
        $chat_id::bigint as chat_id,
        id as user_id,
        coalesce(
            payload ->> 'full_name',
            payload ->> 'name',
            nullif(trim(concat_ws(' ', payload ->> 'first_name', payload ->> 'last_name')), '')
        ) as full_name,
        payload ->> 'email' as email,
        payload ->> 'avatar_url' as avatar_url,
        payload ->> 'role' as role,
        observed_at as first_seen_at,
        observed_at as last_seen_at,
        true as is_current,
        payload::json as payload,
        observed_at
    from batch
    where id is not null
    qualify row_number() over (partition by id order by observed_at desc, position desc) = 1
) as observed
on known.chat_id = observed.chat_id and known.user_id = observed.user_id
when matched and observed.observed_at >= known.observed_at then update set
    full_name = observed.full_name,
    email = observed.email,
    avatar_url = observed.avatar_url,
    role = observed.role,
    last_seen_at = observed.observed_at,
    is_current = true,
    payload = observed.payload,
    observed_at = observed.observed_at
when not matched then insert by name
