"""pipecat's evaluations; run by pipecat's interpreter, with a file of scenarios and an address.

python pipecat_evaluation.py scenario.yaml ws://127.0.0.1:7860/ws
"""

import asyncio
import json
import sys

from pipecat.evals.scenario import EvalScenarioFile
from pipecat.evals.script_session import EvalScriptSession


async def main(scenarios: str, url: str) -> None:
    """Run each scenario, and print its result as JSON."""
    for scenario in EvalScenarioFile.load(scenarios):
        result = await EvalScriptSession.from_scenario(scenario, url).run()
        failures = [str(failure) for failure in result.failures]
        print(json.dumps({"passed": result.passed, "failures": failures}), flush=True)


asyncio.run(main(*sys.argv[1:]))
