"""What each error of the tree comes to for a person: a sentence by its code, above the service's own words."""

from __future__ import annotations

from console.language import N_

HEADLINES: dict[str, str] = {
    "error": N_("Something went wrong in the service."),
    "unexpected": N_("Something went wrong in the service."),
    "invalid_input": N_("What was asked for is not right as it is. Nothing was done."),
    "invalid_config": N_("What was written cannot be used. Nothing was done."),
    "invalid_data": N_("The rows cannot be used as they are. Nothing was done."),
    "artifact_refused": N_("What was trained cannot be served as it was trained."),
    "adapter_refused": N_("This base cannot serve this adapter."),
    "request_too_large": N_("That is more than the service takes at once."),
    "request_timeout": N_("It did not arrive in time. Send it again."),
    "context_length_exceeded": N_("The conversation is longer than the model reads. Leave out its beginning."),
    "invalid_job_state": N_("The job cannot do that now."),
    "previous_response_not_found": N_("The service keeps no earlier answers. Send the whole conversation."),
    "not_found": N_("There is no such thing here, or your key does not cover it."),
    "no_such_page": N_("There is no page at this address."),
    "model_not_found": N_("There is no model of this name that you may call."),
    "not_allowed": N_("That cannot be done as things stand."),
    "invalid_api_key": N_("Your key does not open this. Sign in again."),
    "permission_denied": N_("Your key may not do this."),
    "wrong_host": N_("The service does not answer to the name in this address."),
    "rate_limit_exceeded": N_("Your key has used what it may for now. Try again later."),
    "insufficient_quota": N_("Your key has used what it may for today."),
    "conflict": N_("Somebody else was quicker. Look again, then try again."),
    "lease_lost": N_("Another worker has this job now."),
    "alias_moved": N_("Somebody changed this after you looked at it. Nothing was done; look again."),
    "corrupt": N_("What is stored is damaged."),
    "no_room": N_("The machine of the service has no more room."),
    "engine_fault": N_("The engine failed on this request."),
    "unreadable": N_("Another release wrote this, and this one cannot read it. Upgrade the service."),
    "unavailable": N_("A part of the service does not answer now. Try again in a moment."),
    "adapter_unloadable": N_("The version does not load, so it cannot answer."),
    "engine_dead": N_("The engine has stopped, and is started again as a rule. Try again in a moment."),
    "overloaded": N_("Too much is asked of the service now. Try again in a moment."),
}
"""Code → sentence, for every code of `lifecycle/errors.py` and those of the console's own pages."""
