//! The contract of the storage ports, once for both databases.
//!
//! Each scenario is written against the ports and runs on a SQLite file; with the feature `postgres-tests` also on
//! PostgreSQL, in a schema of its own at `TEST_POSTGRES_URL`.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod coverage;
mod databases;
mod fleet;

mod admission;
mod audit;
mod certificates;
mod directory;
mod jobs;
mod life;
mod live;
mod metrics;
mod neighbours;
mod network_plan;
mod opening;
mod processes;
mod races;
mod readmission;
mod renewal;
#[cfg(feature = "postgres-tests")]
mod role;
mod schema;
mod sessions;
mod tickets;
mod tokens;

/// Names every scenario once; each runs on both databases, and all of them together execute every statement.
macro_rules! contract {
    ($($module:ident::$scenario:ident,)*) => {
        contract!(sqlite: databases::SqliteFile, $($module::$scenario,)*);

        #[cfg(feature = "postgres-tests")]
        contract!(postgres: databases::PostgresSchema, $($module::$scenario,)*);
    };
    ($kind:ident: $database:ty, $($module:ident::$scenario:ident,)*) => {
        mod $kind {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                $module::$scenario::<$database>().await;
            })*

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn every_statement_was_executed() {
                coverage::begin();
                // Each on the heap: all of them together are too much for the stack of a test.
                $(Box::pin($module::$scenario::<$database>()).await;)*
                assert_eq!(coverage::never_executed(stringify!($kind)), Vec::<String>::new());
            }
        }
    };
}

contract! {
    admission::a_device_is_admitted_with_an_address_and_an_intent,
    admission::the_same_application_again_gets_the_same_answer_and_is_not_counted,
    admission::a_token_that_is_unknown_expired_or_revoked_admits_nobody,
    admission::a_token_admits_only_the_ids_of_its_pattern,
    admission::a_token_that_is_used_up_admits_nobody_new,
    admission::a_token_is_checked_without_being_spent_and_a_no_is_counted,
    admission::every_refusal_is_counted_and_recorded,
    admission::another_request_is_a_conflict_while_the_first_is_in_progress,
    admission::a_known_device_with_another_key_is_refused,
    admission::a_certificate_key_belongs_to_one_device_for_all_time,
    admission::a_wireguard_key_belongs_to_one_device_for_all_time,
    admission::a_refused_application_leaves_nothing_behind,
    admission::an_exhausted_pool_is_a_refusal_of_its_own,
    readmission::a_pair_of_ours_is_replaced_until_the_first_handshake,
    readmission::what_was_seen_of_a_pair_of_ours_says_nothing_of_the_one_in_its_place,
    readmission::a_device_that_brings_its_key_cannot_swap_it_by_repeating,
    readmission::a_device_that_brought_its_own_key_cannot_have_it_replaced_by_leaving_it_out,
    readmission::what_a_device_once_used_stays_used_when_the_hub_forgets_it,
    readmission::an_allowed_device_starts_over_with_new_keys,
    readmission::an_allowance_is_used_once_and_ends_with_its_time,
    readmission::a_device_that_starts_over_brings_new_keys,
    readmission::a_return_ticket_lets_a_known_device_keep_its_keys,
    admission::two_networks_are_used_one_after_the_other,
    admission::a_network_that_is_widened_goes_on_where_it_was,
    admission::a_network_that_is_no_longer_configured_gives_out_nothing,
    admission::the_hub_address_is_never_given_out,
    certificates::the_first_certificate_of_an_intent_stays,
    certificates::a_certificate_for_a_device_that_was_decommissioned_meanwhile_is_kept_as_revoked,
    certificates::a_certificate_for_an_intent_that_was_replaced_meanwhile_is_kept_as_revoked,
    certificates::a_serial_number_that_is_there_twice_is_one_certificates,
    certificates::with_its_certificate_a_device_enters_service_in_one_step,
    certificates::who_was_shut_out_meanwhile_gets_a_certificate_and_does_not_enter_service,
    directory::a_device_is_found_as_it_was_admitted,
    directory::devices_that_many_ask_for_at_once_are_each_found,
    directory::devices_are_listed_page_by_page,
    directory::a_list_is_narrowed_by_group_and_state,
    directory::a_list_is_narrowed_by_text_that_means_itself,
    directory::only_devices_with_a_certificate_belong_on_the_hub,
    directory::the_hub_is_told_where_a_member_was_last_seen,
    directory::every_key_that_a_device_had_is_known,
    jobs::an_order_is_claimed_by_one_worker_until_its_lease_ends,
    jobs::an_enrollment_that_stopped_half_way_is_ordered_once,
    jobs::a_newer_order_takes_the_older_ones_place,
    jobs::a_failed_try_comes_back_later_and_a_dead_one_when_a_person_says_so,
    jobs::what_a_dead_process_had_taken_is_due_again_at_its_next_start,
    jobs::a_worker_gets_the_orders_of_its_system_oldest_first,
    jobs::orders_that_are_ended_together_end_each_by_itself,
    life::a_device_without_a_certificate_is_not_put_into_service,
    life::putting_a_device_into_service_again_changes_nothing,
    life::a_decommissioned_device_loses_everything_but_its_name_and_keys,
    life::an_address_is_given_out_again_only_when_nothing_can_reach_it,
    life::a_device_in_quarantine_comes_back_where_it_was,
    life::a_device_is_moved_to_another_group_and_named,
    life::a_device_out_of_service_is_not_changed,
    live::facts_are_written_at_most_every_twenty_five_seconds,
    live::of_a_device_that_never_came_nothing_is_written,
    live::coming_and_going_are_written_at_once_and_become_events,
    live::facts_about_nobodys_peer_are_not_written,
    metrics::a_device_has_one_key_to_the_metrics_store,

    neighbours::a_connection_is_recorded_once_and_only_moves_forward,
    neighbours::a_fact_about_nobody_of_ours_is_recorded_without_an_order,
    neighbours::a_device_that_is_shut_out_and_seen_again_is_shut_out_again,
    neighbours::the_steps_of_an_update_are_recorded_once_and_told_once,
    neighbours::what_nobody_waits_for_is_forgotten,
    neighbours::drift_is_what_the_last_comparison_found_and_repairs_are_audited,
    neighbours::a_lease_belongs_to_its_holder_until_it_ends,
    neighbours::a_system_that_is_back_gets_all_its_orders_at_once,
    network_plan::a_full_network_gets_a_prefix_and_goes_on,
    network_plan::a_prefix_that_shares_addresses_is_refused,
    network_plan::a_prefix_of_a_former_configuration_is_refused,
    network_plan::addresses_that_are_not_free_are_counted,
    network_plan::the_first_hub_is_the_hub_until_a_person_says_otherwise,
    races::two_hundred_identical_applications_are_one_admission,
    races::two_hundred_devices_share_ten_addresses_without_a_quarrel,
    races::two_hundred_devices_with_one_wireguard_key_are_one_device,
    races::two_hundred_devices_with_one_certificate_key_are_one_device,
    races::two_hundred_different_requests_for_one_id_have_one_winner,
    races::a_quota_holds_against_two_hundred_devices_at_once,
    races::of_ten_who_decommission_a_device_at_once_one_does,
    races::each_order_goes_to_one_of_many_workers,
    races::enrolling_and_decommissioning_at_once_keeps_the_invariants,
    renewal::a_renewed_certificate_waits_beside_the_old_one_until_it_is_used,
    renewal::another_request_takes_the_place_of_a_renewal_that_was_not_used,
    renewal::a_device_renews_with_its_own_key_and_not_with_anothers,
    renewal::a_key_that_a_new_enrollment_took_away_does_not_come_back_by_a_renewal,
    renewal::only_a_device_in_service_changes_anything_about_itself,
    renewal::a_device_takes_another_wireguard_key_that_nobody_ever_had,
    processes::a_process_is_found_while_it_lives,
    processes::sessions_of_a_process_that_is_not_heard_of_any_more_are_closed_by_others,
    processes::a_pass_is_good_once_for_one_process_and_not_for_long,
    sessions::a_session_is_on_record_from_its_beginning_to_its_first_end,
    sessions::a_session_follows_the_standing_of_its_device,
    sessions::a_session_begins_only_with_the_device_that_was_authorised,
    sessions::what_a_dead_process_left_open_is_closed_by_the_next,
    sessions::people_see_their_own_sessions,
    sessions::sessions_that_begin_and_end_at_once_are_all_on_record,
    sessions::a_session_that_must_not_begin_stands_in_no_others_way,
    tickets::a_ticket_is_redeemed_once,
    tickets::of_fifty_who_redeem_a_ticket_one_gets_it,
    tickets::a_ticket_ends_with_its_time,
    tokens::a_token_is_listed_with_its_counts_and_revoked_once,
    audit::every_change_has_its_record,
    audit::each_instance_has_a_chain_of_its_own,
    audit::a_changed_record_is_found,
    audit::a_removed_record_is_found,
    audit::a_cut_end_is_found,
    audit::records_are_filtered_by_device_and_time,
    opening::a_store_that_is_opened_again_finds_its_fleet,
    opening::pending_migrations_are_refused_when_told_so,
    opening::a_migration_of_another_program_is_refused,
    opening::the_database_gives_a_sign_of_life,
    schema::the_columns_are_those_of_both_databases,
    schema::what_was_changed_by_hand_is_found,
}
