"""OpenAI's guide of a fine-tuning job by whichever release of its client is found: one JSON object for a test.

python walk_client.py <base URL> <key> <file of rows> <model>
"""

from __future__ import annotations

import base64
import json
import sys
import time

import openai


def main(url: str, key: str, rows: str, model: str) -> None:
    client = openai.OpenAI(base_url=url, api_key=key)
    with open(rows, "rb") as sent:
        file = client.files.create(file=sent, purpose="fine-tune")
    processed = client.files.wait_for_processing(file.id)
    job = client.fine_tuning.jobs.create(
        model=model, training_file=file.id, suffix="older", hyperparameters={"n_epochs": 1, "batch_size": 10}
    )
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    asked = [{"role": "user", "content": "متى تفتح العيادة؟"}]
    answer = client.chat.completions.create(model=job.fine_tuned_model or "", messages=asked, max_tokens=4)
    second = client.fine_tuning.jobs.create(model=model, training_file=file.id, suffix="stopped")
    said = {
        "client": openai.__version__,
        "file": processed.status,
        "status": job.status,
        "error": job.error.message if job.error else None,
        "model": job.fine_tuned_model,
        "events": [event.message for event in events],
        "checkpoints": [each.step_number for each in checkpoints],
        "table": base64.b64decode(client.files.content(job.result_files[0]).read()).decode(),
        "answered_by": answer.model,
        "answer": answer.choices[0].message.content,
        "cancelled": client.fine_tuning.jobs.cancel(second.id).status,
        "jobs": [each.id for each in client.fine_tuning.jobs.list(limit=1)],
        "ids": [second.id, job.id],
        "deleted": client.models.delete(job.fine_tuned_model or "").deleted,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
