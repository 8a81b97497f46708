"""Trackio: the only folder that imports it, and all that is known of its rules for names, rows and files.

A run of ours is not a ``trackio.Run``: that one costs a thread and two monitors per run, sends its config
once, and loses what a server did not take. The places below write to where Trackio's own runs would write.
They live in a process of their own (see helper.py), so that Trackio's import holds nobody up.

Private names of Trackio that are used here, each with the test that fails when Trackio changes it
(tests/sinks/test_trackio_contract.py):

- ``sqlite_storage.SQLiteStorage.init_db`` and the columns of its tables ``metrics``, ``configs``,
  ``system_metrics``, ``alerts``: the public ``Run.log`` cannot set a log id, a time, or a second config.
- ``SQLiteStorage.commit_artifact_version``: ``Run.log_artifact`` needs a Run.
- ``SQLiteStorage.bulk_log``, for rows with a trace in them: traces have a table of their own.
- ``_to_dict`` of ``Table``, ``Trace``, ``Histogram``, ``Markdown``, and ``_save`` and ``_to_dict`` of
  ``media.TrackioMedia``: what a user gives to ``Run.log`` as they would to ``trackio.log``.
- ``SQLiteStorage.get_run_config``: to go on with the config of a run opened elsewhere.
- ``artifact.Artifact._build_manifest``: same reason.
- ``fragments.FragmentWriter`` and the ``*_record`` functions: Trackio's jsonl mode.
- ``media.utils.get_project_media_path``, ``utils.MEDIA_DIR``: media under names of our own, so that a second
  try overwrites instead of doubling.
- ``remote_client.RemoteClient`` and the API names ``/bulk_log``, ``/bulk_log_system``, ``/bulk_alert``,
  ``/bulk_upload_media``, ``/check_artifact_blobs``, ``/bulk_upload_artifact_blob``, ``/artifact_log``, which
  Trackio's clients in other languages use too.
- ``deploy.resolve_auto_bucket_id``, ``deploy.create_space_if_not_exists`` and
  ``utils.preprocess_space_and_dataset_ids``: what ``trackio.init`` does before it logs to a Space.
- ``run.Run`` with ``_start_background_thread``, ``_get_username``, ``_hf_token_for_remote``,
  ``_queue_upload`` and ``_config_logged``: what only Trackio's own run can do is done by one without a thread
  (bare.py).
- ``Artifact._pending_files``, ``_pending_references``: one that is stored later.
- ``alerts.format_alert_terminal``, ``send_webhook``, ``should_send_webhook``, ``resolve_webhook_min_level``.
- ``config`` and ``context_vars.current_project``: what a current run brings along.
- ``context_vars.current_run`` and the run's ``_server_base_url``, ``_space_id``, ``_write_token``: to find
  and join the run that the user opened themselves.
- the run's ``_next_step``: an integration that tells no steps counts its rows, and we the optimizer's steps.
- the config keys ``_Group``, ``_Created``, ``_Username``, which the dashboard reads.
- ``cpu.collect_cpu_metrics``, ``gpu.collect_gpu_metrics``: Trackio's own names for the machine's load.
"""
