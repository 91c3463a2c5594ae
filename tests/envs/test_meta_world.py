"""Meta-World's benchmarks; left out where it is not installed, as it needs a MuJoCo of its own."""

import jax
import numpy as np
import pytest

from metarlhf.errors import UnknownTaskError

metaworld = pytest.importorskip("metaworld")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def reach():
    from metarlhf import envs

    return envs.make_host("metaworld/ML1-reach-v3")


def test_training_and_test_goals_are_others(reach):
    tasks = jax.vmap(reach.sample)(jax.random.split(KEY, 2000))
    assert set(np.asarray(tasks["number"]).tolist()) == set(range(50))
    assert not tasks["ends"].any()
    test = reach.test_tasks()
    np.testing.assert_array_equal(test["number"], 50 + np.arange(40))


def test_an_arm_succeeds_is_truncated_and_sees_no_goal(reach):
    bench = metaworld.ML1("reach-v3", seed=0)
    theirs = bench.train_classes["reach-v3"](reward_function_version="v2")
    theirs.set_task(bench.test_tasks[3])
    arm = reach.connect(1)
    try:
        for ends in (False, True):
            arm.set_tasks({"number": np.array([53]), "ends": np.array([ends])})
            obs, (same, _) = arm.reset(0), theirs.reset(seed=0)
            np.testing.assert_array_equal(obs[:, -3:], 0)
            succeeded, taken = False, 0
            for _ in range(500):
                taken += 1
                action = np.zeros(4, np.float32)
                action[:3] = np.clip(10 * (theirs._target_pos - same[:3]), -1, 1)
                same, paid, _, _, info = theirs.step(action)
                step = arm.step(action[None])
                assert step.reward[0] == pytest.approx(paid, rel=1e-5)
                succeeded |= info["success"] == 1.0
                if step.terminated[0]:
                    break
            assert succeeded
            assert bool(step.terminated[0]) is ends
            assert bool(step.truncated[0]) is not ends
            assert taken == 500 or ends
    finally:
        arm.close()


def test_ml10_has_its_test_tasks_by_turns():
    from metarlhf import envs
    from metarlhf.meta.tasks import held_out_tasks

    family = envs.make_host("metaworld/ML10")
    test = held_out_tasks(family, 200)["number"]
    names = [family._bench.test_tasks[int(n) - 500].env_name for n in test]
    assert sorted({name: names.count(name) for name in names}.values()) == [40] * 5
    assert len(set(names[:5])) == 5
    assert len(set(test.tolist())) == 200
    with pytest.raises(UnknownTaskError, match="metaworld/ML1-NAME"):
        envs.make_host("metaworld/ML11")


def test_a_prior_is_meta_trained_and_tested_by_the_protocol(tmp_path, capsys):
    import json

    from metarlhf.cli import main
    from tests.cli.test_host import SMALL

    small = [flag.replace("iterations=3", "iterations=1") for flag in SMALL]
    folder = str(tmp_path / "run")
    assert main(["meta-train", "metaworld/ML1-reach-v3", *small, "--run-dir", folder]) == 0
    command = ["evaluate", f"{folder}/prior", "--tasks=2", "--json", "--run-dir"]
    assert main([*command, str(tmp_path / "tested")]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["num_tasks"] == 2
    assert "V2" in result["varies"]
    assert 0 <= result["success"]["mean"] <= 1
