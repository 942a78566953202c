# clearhead on the CPU: docker build -t clearhead . && docker run --rm -v "$PWD:/work" clearhead demo
FROM python:3.11-slim
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu .
RUN useradd --create-home clearhead
USER clearhead
WORKDIR /work
ENTRYPOINT ["clearhead"]
