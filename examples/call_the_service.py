"""Ask a running service for a prediction and for an audit of the model that gave it.

python examples/call_the_service.py http://127.0.0.1:3000 IMAGE
"""

import os
import sys
from pathlib import Path

import f2at


def main(url: str, image: Path) -> None:
    """Print what the service says of an image, and how robust its model is."""
    with f2at.Client(url, key=os.environ.get("F2AT_KEY")) as client:
        prediction = client.predict(image)
        print(f"{image.name}: {prediction.label}, by the model {prediction.model}")

        started = client.start_audit(suite="quick", eps="8/255", samples=20)
        audit = client.wait(started.id, progress=lambda audit: print(audit.state, audit.progress))
        if audit.state != "done":
            sys.exit(f"the audit ended as {audit.state}")
        report = client.report(audit.id)
    print(f"{report['robust']['k']} of {report['robust']['n']} images stand at eps {report['threat_model']['eps']}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
