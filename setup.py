# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'sage_perception'
EXECUTABLES = sorted(path.stem for path in Path(PACKAGE, 'nodes').glob('*_node.py'))

setup(
    name=PACKAGE,
    version='0.3.0',
    description="A shared, trusted, compressed language for a robot's cameras",
    author='The sage authors',
    maintainer='The sage authors',
    maintainer_email='sage@example.org',
    license='Apache-2.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={
        PACKAGE: ['py.typed'],
        f'{PACKAGE}.models': ['zoo/*/*'],
        f'{PACKAGE}.reports.html': ['assets/*'],
    },
    data_files=[
        ('bin', ['scripts/sage']),
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/launch', glob('launch/*.launch.py')),
        (f'share/{PACKAGE}/config', glob('config/*.*')),
        (f'share/{PACKAGE}/config/train', glob('config/train/*.yaml')),
    ],
    install_requires=['setuptools'],
    extras_require={
        'test': ['pytest'],
        'view': ['rerun-sdk'],
        'bench': ['pybullet', 'pyroomacoustics'],
    },
    zip_safe=True,
    entry_points={
        'sage.irp_plugins': [
            f'tinyvae = {PACKAGE}.irp.tinyvae:TinyVAEIRP',
            f'adaptive_vae = {PACKAGE}.irp.adaptive:AdaptiveVAE',
            f'language = {PACKAGE}.irp.language:LanguageIRP',
            f'control = {PACKAGE}.irp.control:ControlIRP',
            f'audio = {PACKAGE}.irp.audio:AudioIRP',
        ],
        'pytest11': [f'sage = {PACKAGE}.regression.pytest_plugin'],
        'console_scripts': [
            'sage = sage_perception.cli.main:main',
            *(f'{name} = {PACKAGE}.bringup.start:{name}' for name in EXECUTABLES),
        ],
    },
)
