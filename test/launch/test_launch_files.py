# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""The launch files, run by `launch` and `launch_ros`, with stub processes as nodes."""

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

pytest.importorskip('launch_ros', reason='launch_ros is not installed (a ROS 2 from apt has it)')

import itertools

from launch import LaunchDescription, LaunchService
from launch.actions import (
    IncludeLaunchDescription,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessIO, OnShutdown
from launch.launch_description_sources import (
    PythonLaunchDescriptionSource,
    get_launch_description_from_python_launch_file,
)

from sage_perception.bringup.graph import Camera, dual_camera, single_camera
from sage_perception.bringup.optional_nodes import OPTIONAL_NODES

ROOT = Path(__file__).resolve().parents[2]
GRAPH_ARGUMENTS = {
    'namespace': '',
    'use_sim_time': '',
    'log_level': 'info',
    'use_respawn': 'true',
    'respawn_delay': '0.1',
    'device': '',
    'autostart': '',
    'frame_prefix': '',
    'composition': 'false',
    **{f'use_{node.name}': str(node.default).lower() for node in OPTIONAL_NODES},
    'use_rviz': 'false',
    'rviz_config': str(ROOT / 'config' / 'sage.rviz'),
    'use_foxglove': 'false',
    'foxglove_port': '8765',
}
ARGUMENTS = {
    'single_camera': {'camera': 'cam0', 'source': '', 'image': '', 'pose': ''},
    'dual_camera': {
        **{'camera0': 'cam0', 'source0': '', 'image0': '', 'pose0': ''},
        **{'camera1': 'cam1', 'source1': '', 'image1': '', 'pose1': ''},
    },
}
ARGUMENTS['jetson_dual_csi'] = ARGUMENTS['dual_camera']


@pytest.fixture(scope='module', autouse=True)
def log_directory(tmp_path_factory):
    """Keep the logs of `launch` out of the home directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_LOG_DIR', str(tmp_path_factory.mktemp('log')))
        yield


def launch_file(graph: str) -> str:
    return str(ROOT / 'launch' / f'{graph}.launch.py')


@pytest.mark.parametrize('graph', ARGUMENTS)
def test_show_args_lists_arguments_with_defaults_and_descriptions(graph):
    description = get_launch_description_from_python_launch_file(launch_file(graph))
    arguments = description.get_launch_arguments()
    defaults = {a.name: ''.join(s.text for s in a.default_value) for a in arguments}
    params_file = str(ROOT / 'config' / f'{graph}.yaml')
    expected = {**GRAPH_ARGUMENTS, **ARGUMENTS[graph], 'params_file': params_file}
    if graph == 'jetson_dual_csi':
        expected['composition'] = 'true'
    assert defaults == expected
    assert all(len(a.description) > 10 for a in arguments)
    choices = {a.name: a.choices for a in arguments}
    assert {'true', 'false'} <= set(choices['use_respawn'])
    assert 'debug' in choices['log_level']


# A node that records how it was started and waits, or exits immediately if FAIL names it.
STUB = """
    #!{python} -S
    import json, os, signal, sys, time
    words = sys.argv[1:]
    files = [words[i + 1] for i, word in enumerate(words) if word == '--params-file']
    remaps = [words[i + 1] for i, word in enumerate(words) if word == '-r']
    profiles = [v for k, v in os.environ.items() if k.endswith('_DEFAULT_PROFILES_FILE')]
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    record = dict(words=words, files=[open(f).read() for f in files], remaps=remaps)
    deaths = os.environ.get('SAGE_DEATHS_FILE', '')
    record['deaths'] = open(deaths).read() if os.path.exists(deaths) else ''
    record['time'] = time.monotonic()
    if '--nodes' in words:
        nodes = json.load(open(words[words.index('--nodes') + 1]))
        lists = [[w for w in node['arguments'] if w.endswith('.yaml')] for node in nodes]
        record['nodes'] = nodes
        record['overrides'] = [open(f).read() for files in lists for f in files[1:]]
    with open(os.environ['RECORDS'], 'a') as records:
        records.write(json.dumps(dict(record, profiles=profiles)) + chr(10))
    if os.environ.get('FAIL', 'no node') in sys.argv[0]:
        print('fails', flush=True)
        sys.exit(int(os.environ['EXIT_CODE']))
    print('ready', flush=True)
    signal.pause()
"""


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Return a function that launches a file until `ready` nodes run, or until it ends."""
    for package, executables in {
        'sage_perception': (
            *('camera', 'attention', 'encoder', 'arbiter', 'container'),
            *(node.name for node in OPTIONAL_NODES),
        ),
        'rviz2': ('rviz2',),
        'foxglove_bridge': ('foxglove_bridge',),
    }.items():
        marker = tmp_path / 'share/ament_index/resource_index/packages' / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        for kind in executables:
            name = f'{kind}_node' if package == 'sage_perception' else kind
            path = tmp_path / 'lib' / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(STUB).strip().format(python=sys.executable))
            path.chmod(0o755)
    prefixes = [str(tmp_path), os.environ.get('AMENT_PREFIX_PATH', '')]
    monkeypatch.setenv('AMENT_PREFIX_PATH', os.pathsep.join(filter(None, prefixes)))
    monkeypatch.setenv('RECORDS', str(tmp_path / 'records'))
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(name, raising=False)

    def run(graph: str, ready: int | None, **arguments: str):
        (tmp_path / 'records').write_text('')
        seen, failed, reasons = [], [], []

        def on_output(event):
            seen.extend(['ready'] * event.text.count(b'ready'))
            failed.extend(['fails'] * event.text.count(b'fails'))
            if len(failed) == int(os.environ.get('END_AFTER', 0)) > 0:
                return [Shutdown(reason=f'the viewer started {len(failed)} times')]
            return [Shutdown()] if len(seen) == ready else []

        source = PythonLaunchDescriptionSource(launch_file(graph))
        description = [
            RegisterEventHandler(OnProcessIO(on_stdout=on_output)),
            RegisterEventHandler(
                OnShutdown(on_shutdown=lambda event, context: reasons.append(event.reason))
            ),
            TimerAction(period=30.0, actions=[Shutdown(reason='timed out')]),
            IncludeLaunchDescription(source, launch_arguments=arguments.items()),
        ]
        service = LaunchService(noninteractive=True)
        service.include_launch_description(LaunchDescription(description))
        code = service.run()
        assert ready is None or len(seen) >= ready, 'timed out'
        records = [json.loads(line) for line in (tmp_path / 'records').read_text().splitlines()]
        return code, records, reasons

    return run


def full_name(record) -> str:
    """Return the full name of a node in the launch file."""
    rules = dict(rule.split(':=') for rule in record['remaps'])
    return f'{rules["__ns"].rstrip("/")}/{rules["__node"]}'


def test_starts_the_nodes_of_the_graph(launch):
    code, records, _ = launch('dual_camera', 8)
    assert code == 0
    assert sorted(map(full_name, records)) == sorted(f'/{spec.path}' for spec in dual_camera())
    file = (ROOT / 'config' / 'dual_camera.yaml').read_text()
    for record in records:
        assert record['files'][0] == file
        assert record['words'][1:3] == ['--log-level', 'info']
        assert [Path(path).name for path in record['profiles']] == ['fastdds_shm.xml']


@pytest.mark.parametrize('graph', ['dual_camera', 'jetson_dual_csi'])
def test_composed_graph_is_one_process(launch, graph):
    arguments = {'composition': 'true'} if graph == 'dual_camera' else {}
    code, [record], _ = launch(
        graph, 1, namespace='robot1', camera0='front', source0='synthetic://', **arguments
    )
    assert code == 0
    assert full_name(record) == '/robot1/container'
    nodes = {node['path']: node['arguments'] for node in record['nodes']}
    specs = dual_camera([Camera('front', 'synthetic://'), Camera('cam1')], namespace='robot1')
    assert sorted(nodes) == sorted(spec.path for spec in specs)
    words = nodes['robot1/front/camera']
    assert words[:4] == ['-r', '__node:=camera', '-r', '__ns:=/robot1/front']
    assert str(ROOT / 'config' / f'{graph}.yaml') in words
    assert {'/robot1/front/camera': {'ros__parameters': {'source': 'synthetic://'}}} in [
        yaml.safe_load(text) for text in record['overrides']
    ]


def test_arguments_override_the_parameter_file(launch):
    _, records, _ = launch(
        'single_camera',
        7,
        namespace='robot1',
        camera='front',
        source='synthetic://',
        device='cpu',
        autostart='false',
        use_sim_time='True',
        frame_prefix='robot1/',
        use_viewer='false',
        use_memory='true',
        use_compressor='true',
        use_rviz='true',
        log_level='debug',
    )
    specs = single_camera(
        [Camera('front', 'synthetic://')],
        device='cpu',
        autostart=False,
        use_sim_time=True,
        frame_prefix='robot1/',
        viewer=False,
        memory=True,
        compressor=True,
    )
    records = {full_name(record): record for record in records}
    assert set(records) == {f'/robot1/{spec.path}' for spec in specs} | {'/robot1/rviz'}
    for spec in specs:
        record = records[f'/robot1/{spec.path}']
        # The full name takes precedence over the wildcards of the parameter file. launch_ros
        # writes lists as tuples, which only full_load reads and rcl accepts as lists.
        key, content = yaml.full_load(record['files'][1]).popitem()
        assert key == f'/robot1/{spec.path}'
        parameters = json.loads(json.dumps(content['ros__parameters']))
        assert parameters == dict(spec.parameters)
        assert record['words'][1:3] == ['--log-level', 'debug']


def test_foxglove_bridge_is_started_with_its_port(launch):
    _, records, _ = launch(
        'single_camera', 6, namespace='robot1', use_foxglove='true', foxglove_port='9000'
    )
    records = {full_name(record): record for record in records}
    bridge = records['/robot1/foxglove_bridge']
    (content,) = [yaml.safe_load(text) for text in bridge['files']]
    (parameters,) = content.values()
    assert parameters['ros__parameters'] == {'port': 9000, 'use_sim_time': False}


def test_foxglove_bridge_that_is_not_installed_is_reported(launch, tmp_path, caplog):
    for marker in tmp_path.glob('share/ament_index/resource_index/packages/foxglove_bridge'):
        marker.unlink()
    code, records, _ = launch('single_camera', None, use_foxglove='true')
    assert (code, records) == (1, [])
    assert 'use_foxglove: foxglove_bridge is not installed: sudo apt install ros-' in caplog.text


def test_image_topic_replaces_the_camera_node(launch):
    _, records, _ = launch('jetson_dual_csi', 7, image1='/front/image', composition='false')
    records = {full_name(record): record for record in records}
    assert '/cam0/camera' in records
    assert '/cam1/camera' not in records
    assert 'image_raw:=/front/image' in records['/cam1/attention']['remaps']
    assert 'cam1/image_raw:=/front/image' in records['/viewer']['remaps']
    assert 'csi://0' in records['/cam0/camera']['files'][0]


def test_node_that_keeps_dying_is_restarted_ever_later_and_ends_no_other(launch, monkeypatch):
    monkeypatch.setenv('FAIL', 'viewer_node')
    monkeypatch.setenv('EXIT_CODE', '1')
    monkeypatch.setenv('END_AFTER', '5')
    _, records, reasons = launch('single_camera', None, respawn_delay='0.05')
    names = [full_name(record) for record in records]
    assert names.count('/viewer') == 5
    assert names.count('/cam0/encoder') == 1
    assert reasons == ['the viewer started 5 times']
    starts_s = [record['time'] for record in records if full_name(record) == '/viewer']
    pauses_s = [b - a for a, b in itertools.pairwise(starts_s)]
    assert all(pause > delay for pause, delay in zip(pauses_s, (0.05, 0.2, 0.4, 0.8), strict=True))
    deaths = [json.loads(record['deaths'] or '{}') for record in records if record['deaths']]
    assert [each['deaths'] for each in deaths] == [1, 2, 3, 4]
    assert {each['last'] for each in deaths} == {'exit code 1'}


def test_shared_memory_of_killed_processes_is_removed(launch):
    segment = Path(f'/dev/shm/fastrtps_test_{os.getpid()}')
    lock = segment.with_name(segment.name + '_el')
    for path in (segment, lock):
        path.touch()
        os.utime(path, (0, 0))
    try:
        launch('single_camera', 5)
        assert not segment.exists()
        assert not lock.exists()
    finally:
        segment.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ('exit_code', 'use_respawn', 'reason'),
    [('2', 'true', 'configuration error'), ('1', 'false', 'exit code 1, and respawn is off')],
)
def test_failed_node_ends_the_graph(launch, monkeypatch, exit_code, use_respawn, reason):
    monkeypatch.setenv('FAIL', 'encoder_node')
    monkeypatch.setenv('EXIT_CODE', exit_code)
    _, records, reasons = launch(
        'single_camera', None, use_respawn=use_respawn, respawn_delay='0.05'
    )
    assert [full_name(record) for record in records].count('/cam0/encoder') == 1
    assert len(reasons) == 1
    assert reasons[0].startswith(f'cam0/encoder: {reason}')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'params_file': 'absent.yaml'}, 'params_file: absent.yaml does not exist'),
        (
            {'use_foxglove': 'true', 'foxglove_port': '99999'},
            "foxglove_port: '99999' is not a port, 1 to 65535",
        ),
        ({'respawn_delay': 'soon'}, "respawn_delay: 'soon' is not a number"),
        ({'image': 'front/image'}, "image topic 'front/image' of cam0 must be absolute"),
        ({'log_level': 'loud'}, '"loud" is not valid'),
    ],
)
def test_invalid_argument_starts_nothing_and_is_reported(launch, caplog, arguments, message):
    code, records, _ = launch('single_camera', None, **arguments)
    assert code == 1
    assert records == []
    assert message in caplog.text
